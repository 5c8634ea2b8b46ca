FROM diff-base AS first
RUN mkdir /seed && echo seed > /seed/f
FROM diff-base
RUN --mount=type=cache,id=diff-from,from=first,source=/seed,target=/c cat /c/f > /seen && echo more > /c/g
RUN --mount=type=cache,id=diff-from,from=first,source=/seed,target=/c ls /c > /again
