FROM diff-base AS made
RUN mkdir /out && echo made > /out/f
FROM diff-base
RUN --mount=from=made,source=/out,target=/in cp /in/f /f
