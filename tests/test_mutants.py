"""The reasons why some planted faults need not be found (`make mutants`) are those of the code as it is."""

import tomllib

from tools.mutants import PAGE, REASONS, ROOT, TESTS

HARMLESS = tomllib.loads(REASONS.read_text(encoding="utf-8"))["harmless"]


def test_each_reason_is_for_a_line_that_is_still_there():
    for reason in HARMLESS:
        lines = (ROOT / "aelib" / f"{reason['module']}.py").read_text(encoding="utf-8").splitlines()
        assert reason["was"] in [line.strip() for line in lines], reason


def test_the_table_has_every_module_and_a_reason_for_every_survivor():
    page = PAGE.read_text(encoding="utf-8")
    assert not [module for module in TESTS if f"| `{module}` |" not in page]
    assert "no reason is given" not in page


def test_the_module_of_every_test_file_exists():
    for module, patterns in TESTS.items():
        assert (ROOT / "aelib" / f"{module}.py").exists()
        assert all(list(ROOT.glob(f"tests/{pattern}")) for pattern in patterns.split())
