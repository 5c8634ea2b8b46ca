FROM diff-base AS One
RUN echo one > /one
FROM diff-base
# with: --target ONE
