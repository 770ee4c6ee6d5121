# Runs once, when the consumer starts: in the folder of the archive, with the environment's python
# first on the path. It is for what a requirements file cannot say. Where it fails, so does the start.
set -eu
python -c 'import jsonpath2, promise, pacifica_notifications_consumer'
