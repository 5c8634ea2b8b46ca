FROM diff-base AS one
RUN --mount=type=cache,id=diff-stages,target=/c echo one > /c/f && echo done > /done
FROM diff-base
COPY --from=one /done /done
RUN --mount=type=cache,id=diff-stages,target=/c cat /c/f > /seen
