"""nbgrader's settings for the course. `make grade` copies this file into the folder in which it grades."""

from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    IgnorePattern,
    LimitOutput,
    SaveAutoGrades,
)

from tools.grading_execute import LimitedExecute

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "autoencoders"
c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("Your code comes here.")'}
c.ClearSolutions.text_stub = "*Your answer comes here.*"
c.ExecutePreprocessor.kernel_name = "python3"
c.LimitedExecute.timeout = 60  # seconds for a cell
c.LimitedExecute.total_seconds = 300  # for a notebook
c.LimitedExecute.iopub_timeout = 20  # the default of 4 is short on a busy machine
c.LimitedExecute.startup_timeout = 180
c.LimitOutput.max_lines = 200
c.Autograde.autograde_preprocessors = [
    LimitedExecute,
    IgnorePattern,
    ClearMetadataPreprocessor,
    LimitOutput,
    SaveAutoGrades,
    AssignLatePenalties,
    CheckCellMetadata,
]
