FROM diff-base
RUN --mount=type=bind,source=dir/sub,target=/s find /s -type f | sort > /list
