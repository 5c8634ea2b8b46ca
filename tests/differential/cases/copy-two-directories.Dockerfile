FROM scratch
COPY dir other /merged/
