FROM diff-base AS one
RUN echo one > /one
FROM diff-base AS two
RUN echo two > /two
FROM diff-base
RUN false
# with: --target two
