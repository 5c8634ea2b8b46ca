FROM scratch
COPY dir /d
COPY other /o
