"""Exercises: a lab that was broken, a learner who says where and mends it, and what was found."""
