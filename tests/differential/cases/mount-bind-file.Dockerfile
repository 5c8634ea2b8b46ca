FROM diff-base
RUN --mount=type=bind,source=a.txt,target=/file cat /file > /copied
