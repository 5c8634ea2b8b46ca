FROM diff-base
RUN --mount=source=dir,target=/m,rw --mount=source=other,target=/m/inside find /m -type f | sort > /list
