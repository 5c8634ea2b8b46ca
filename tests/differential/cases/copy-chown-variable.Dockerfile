FROM diff-base
ARG WHO=alice:wheel
COPY --chown=$WHO a.txt /f
