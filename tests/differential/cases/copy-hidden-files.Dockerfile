FROM scratch
COPY dot /dot
