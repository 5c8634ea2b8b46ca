FROM scratch
COPY a.txt /
ARG A=default
ENV C=[$A]
# with: --build-arg A=
