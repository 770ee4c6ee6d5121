"""Packaging of pacifica-notifications."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent
CONSUMER = "pacifica/notifications/consumer"
#: What entry points of consumers import. It is installed twice: as they call it, and below the
#: package whose command packs it for their environments.
AUTHOR = "pacifica_notifications_consumer"


def requirements(path: str) -> list[str]:
    """Return the requirements that a file lists."""
    return (HERE / path).read_text(encoding="utf-8").splitlines()


EXTRAS = {
    "consumer": [
        *requirements(f"{CONSUMER}/author/requirements.txt"),
        "psutil>=6",
        "virtualenv>=20.26",
    ],
    "postgres": ["psycopg2-binary>=2.9.9"],
    "mysql": ["PyMySQL>=1.1"],
    # kombu's Redis transport needs packaging and does not say so
    "redis": ["redis>=5", "packaging"],
    "uwsgi": ["pyuwsgi>=2.0.30; sys_platform != 'win32'"],
    "docs": ["sphinx>=8"],
}
EXTRAS["test"] = [
    *(requirement for needed in EXTRAS.values() for requirement in needed),
    "bandit",
    "cloudevents>=2.2,<3",
    "hypothesis",
    "import-linter",
    "mypy",
    "pip-audit",
    "pytest",
    "pytest-cov",
    "pytest-timeout",
    "pytest-xdist",
    "requests",
    "ruff",
    "schemathesis>=4,<5",
    "standardwebhooks",
]

setup(
    name="pacifica-notifications",
    version="1.0.0",
    description="Delivers Pacifica Metadata's events to those who subscribed to them",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=[*find_namespace_packages(include=["pacifica.*"]), AUTHOR],
    package_dir={AUTHOR: f"{CONSUMER}/author/{AUTHOR}"},
    package_data={
        "pacifica.notifications.consumer": ["author/requirements.txt", "scaffold/*.txt"],
        "pacifica.notifications.rest": ["openapi.json"],
    },
    install_requires=requirements("requirements.txt"),
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "pacifica-notifications = pacifica.notifications.__main__:main",
            "pacifica-notifications-cmd = pacifica.notifications.__main__:cmd",
            "pacifica-notifications-consumer = pacifica.notifications.consumer.authoring:main",
            "start-pacifica-notifications-consumer = pacifica.notifications.consumer.__main__:main",
        ]
    },
)
