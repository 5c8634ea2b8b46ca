# A comment
FROM diff-base
RUN echo one \
    # a comment inside
    && echo two > /two \

    && echo three > /three
# The end
