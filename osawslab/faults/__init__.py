"""Faults: real changes of a working lab, each with what undoes just them.

`lab.faults()` lists those that the lab can have, `lab.break_it("gateway-down")` or
`lab.break_it(seed=7)` (not told which) causes one, `lab.broken()` says how many there are,
`lab.mend()` undoes all. What undoes a fault is noted when it is caused, so that another process
can mend. The diagnosis knows nothing of this room, nor this room of the diagnosis.
"""
