"""Every public transformation and schedule, once, with what is true of it.

The laws in this folder run over all of these rows, and the README's tables are written from them,
so a new block is a file and a row. An exception to a law is a trait of the row, never a name in a
test.
"""

from rows import foundation, schedules
from rows.row import Row, ScheduleRow

CATALOG: tuple[Row, ...] = (*foundation.ROWS,)
SCHEDULES: tuple[ScheduleRow, ...] = (*schedules.ROWS,)
