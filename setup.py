"""Packages of the wheel, and the native kernel, which is left out where no compiler is."""

from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

KERNEL = Path("imaging_db/codecs/csrc")


class OptimisedBuild(build_ext):
    """Compiles the kernel with vectors; each compiler spells that in its own way."""

    def build_extension(self, ext: Extension) -> None:
        """Compile one extension."""
        msvc = self.compiler.compiler_type == "msvc"
        ext.extra_compile_args = ["/O2", "/std:c11"] if msvc else ["-O3", "-std=c11"]
        super().build_extension(ext)


setup(
    packages=[
        *find_packages(include=["imaging_db", "imaging_db.*"]),
        "imaging_db.migrations",
        "imaging_db.migrations.versions",
        "imaging_db.sample",
    ],
    package_data={
        "imaging_db": ["py.typed", "codecs/_kernel.pyi"],
        "imaging_db.migrations": ["*.mako"],
        "imaging_db.napari": ["napari.yaml"],
        "imaging_db.sample": ["*", "*/*"],
    },
    ext_modules=[
        Extension(
            "imaging_db.codecs._kernel",
            sources=sorted(path.as_posix() for path in KERNEL.glob("*.c")),
            depends=sorted(path.as_posix() for path in KERNEL.glob("*.h")),
            optional=True,
        )
    ],
    cmdclass={"build_ext": OptimisedBuild},
)
