FROM diff-base
RUN --mount=type=bind,source=a.txt,target=/new/dir/file cat /new/dir/file > /copied
