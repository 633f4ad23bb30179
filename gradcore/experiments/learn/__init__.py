"""The course of the page Learn: short derivations, one idea each, every figure in them computed.

    from gradcore.experiments import learn
    taught = learn.teach(learn.LearnQuestion("xavier", width=300, fan_out=100))
    print(taught.idea, *(step.text for step in taught.steps), sep="\\n")
    taught.numbers["variance"]       # what the sentences and formulas were filled from

A lesson is a ``Lesson`` of ``LESSONS``, in the order of the course. NumPy and SciPy alone, no torch: what is
measured are seeded draws and networks known in law (``figures``).
"""

from gradcore.experiments.learn.course import LESSONS, place, teach
from gradcore.experiments.learn.lesson import Case, Figure, Formula, Lesson, Line, Numbers, Points, Step, Taught
from gradcore.experiments.learn.question import LESSON_CODES, PREFIX, READERS, LearnQuestion, from_query

__all__ = [
    "LESSONS",
    "LESSON_CODES",
    "PREFIX",
    "READERS",
    "Case",
    "Figure",
    "Formula",
    "LearnQuestion",
    "Lesson",
    "Line",
    "Numbers",
    "Points",
    "Step",
    "Taught",
    "from_query",
    "place",
    "teach",
]
