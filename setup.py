"""How the compiled codec is built; everything else of the package is in pyproject.toml.

It is optional: where there is no compiler, the package installs without it and decodes in numpy.
"""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# No option names a processor: what needs wide vectors says so in the source, and is chosen when it
# runs. gcc's SLP vectorizer makes stores of single bytes slower.
OPTIONS = {
    "unix": ["-O3", "-g0", "-std=c11", "-fno-tree-slp-vectorize"],
    "msvc": ["/O2", "/std:c11"],
}


class BuildKernel(build_ext):
    """Gives each kind of compiler its options."""

    def build_extension(self, ext: Extension) -> None:
        """Build one module."""
        ext.extra_compile_args = OPTIONS.get(self.compiler.compiler_type, [])
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildKernel},
    ext_modules=[
        Extension(
            "egress._kernel",
            sources=sorted(str(path) for path in Path("sw/kernel").glob("*.c")),
            depends=sorted(str(path) for path in Path("sw/kernel").glob("*.h")),
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
