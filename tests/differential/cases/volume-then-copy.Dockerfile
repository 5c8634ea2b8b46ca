FROM scratch
VOLUME /v
COPY dir /v/d
