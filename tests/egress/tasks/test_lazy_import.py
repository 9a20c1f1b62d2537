import subprocess
import sys

import pytest

import egress.models
import egress.tasks


def test_reading_a_task_loads_no_torch():
    code = (
        "import sys; from egress.tasks import load_task; load_task('toy_qa'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("package", [egress.tasks, egress.models])
def test_every_public_name_is_found_and_listed(package):
    pytest.importorskip("transformers")
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match=f"^module '{package.__name__}' has no attribute"):
        package.nope  # noqa: B018
