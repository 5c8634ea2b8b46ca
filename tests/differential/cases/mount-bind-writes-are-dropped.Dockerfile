FROM diff-base AS made
RUN mkdir /d && echo one > /d/f
FROM diff-base
RUN --mount=from=made,source=/d,target=/d,rw echo two > /d/f && echo new > /d/g && cat /d/f /d/g > /seen
RUN --mount=from=made,source=/d,target=/d ls /d > /after && cat /d/f >> /after
