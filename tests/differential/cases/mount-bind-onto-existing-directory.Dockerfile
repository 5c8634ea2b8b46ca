FROM diff-base
RUN mkdir /d && echo under > /d/under
RUN --mount=source=dir,target=/d ls /d > /seen
RUN ls /d > /after
