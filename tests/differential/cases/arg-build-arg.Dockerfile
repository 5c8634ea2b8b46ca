FROM scratch
COPY a.txt /
ARG A=default
ARG B
ENV C=$A D=$B
# with: --build-arg A=given --build-arg B=too
