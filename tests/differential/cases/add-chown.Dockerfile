FROM scratch
ADD --chown=3:4 dir /d
