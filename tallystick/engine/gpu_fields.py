"""Places in the arrays of episodes that run on a GPU, and why they stand still; the host and the kernel share them."""

(
    GRAMMAR,
    HOSTED,
    POSITION,
    LIMIT,
    STOP,
    FILL,
    EXACT,
    SPOKEN,
    LOW,
    TOKENS,
    WRONG_AT,
    WRONG_TOKEN,
    NEXT,
    ANSWER,
    QUEUED,
    QUEUE_END,
    COUNT,
    SAID,
    FIELDS,
) = range(19)
"""Fields of an episode: its grammar; whether the host sees its commands; index of the next token, and its limit; why it
stands still; filled places of its buffers; the fields of `Result`: whether it is exact, its model tokens, those with a
low margin, its tokens; place and token of the first deviation; what the model has to read: the next token, and after it
an answer or NONE, or the queue from one place to another; the number of tokens that it has read; the token that waits
for the host."""
MARGIN, BEHIND, SAID_MARGIN, MEASURES = range(4)
"""Measures of an episode: its smallest margin, that of the first deviation, and that of a token that waits."""
RUNNING, ENDED, TOKEN_LIMIT, BAD_COMMAND, UNSEEN, WAITING = range(6)
"""Why an episode stands still: it does not; [EOS]; the limit; a token that is not allowed; a model that abstains; a
token that the host has to see."""
HOST = 8
"""Kind of a token, beside those of `tools.arrays`: it waits for the host."""
