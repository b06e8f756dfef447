"""How nbgrader executes a student's notebook here: what stops the kernel costs one cell, not the submission."""

import time

from jupyter_client.utils import run_sync
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from traitlets import Integer

ANSWER_SECONDS = 5  # within which an interrupted kernel must be ready for the next cell


class LimitedExecute(Execute):
    """nbgrader's own execution, which goes on after a kernel that died or that cannot be interrupted.

    The cell fails, a new kernel executes the cells before it that had not failed, and the rest follows. When the
    submission's time is over, the remaining cells fail without being executed.
    """

    total_seconds = Integer(300, help="Time for all cells of a submission together.").tag(config=True)

    def preprocess(self, nb, resources, km=None):
        self.begin, self.passed = time.monotonic(), []
        return super().preprocess(nb, resources, km)

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type != "code" or not cell.source.strip():
            return cell, resources
        left = self.total_seconds - (time.monotonic() - self.begin)
        if left <= 0:
            self._fail(cell, f"The submission's {self.total_seconds} seconds are over; this cell was not executed.")
            return cell, resources
        graded = cell.metadata.get("nbgrader", {})
        setup = graded.get("locked") and not graded.get("grade")  # ours, and slow on a busy machine
        limit, self.timeout = self.timeout, max(1, int(left if setup else min(self.timeout, left)))
        try:
            cell, resources = super().preprocess_cell(cell, resources, index)
        except DeadKernelError:
            self._fail(cell, "Python ended in this cell: it used too much memory, or crashed.")
            self._start_again()
        except CellTimeoutError:  # its outputs do not arrive
            self._fail(cell, f"The cell was stopped after {self.timeout} seconds.")
            self._start_again()
        else:
            if not any(output.output_type == "error" for output in cell.outputs):
                self.passed.append((cell, index))
            elif any(output.get("ename") == "CellTimeoutError" for output in cell.outputs):
                self._fail(cell, f"The cell was stopped after {self.timeout} seconds.")
                if not self._answers():
                    self._start_again()
        finally:
            self.timeout = limit
        return cell, resources

    def _fail(self, cell, reason):
        cell.outputs = [output for output in cell.get("outputs", []) if output.output_type != "error"]
        cell.outputs.append(new_output("error", ename="Stopped", evalue=reason, traceback=[reason]))

    def _answers(self):
        self.kc.kernel_info()
        try:
            while run_sync(self.kc.get_shell_msg)(timeout=ANSWER_SECONDS)["msg_type"] != "kernel_info_reply":
                pass
        except Exception:  # `queue.Empty`, or what a broken channel raises
            return False
        return True

    def _start_again(self):
        self.kc.stop_channels()
        run_sync(self.km.restart_kernel)(now=True)
        self.kc = None
        run_sync(self.async_start_new_kernel_client)()
        for cell, index in self.passed:
            outputs = cell.outputs
            try:
                self.execute_cell(cell, index)
            except DeadKernelError:
                return  # the next cell will say so
            finally:
                cell.outputs = outputs
