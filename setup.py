"""Packages of the wheel: the library, the migrations and the sample acquisition."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["imaging_db", "imaging_db.*"]),
        "imaging_db.migrations",
        "imaging_db.migrations.versions",
        "imaging_db.sample",
    ],
    package_data={
        "imaging_db": ["py.typed"],
        "imaging_db.migrations": ["*.mako"],
        "imaging_db.sample": ["*", "*/*"],
    },
)
