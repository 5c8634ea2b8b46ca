FROM scratch
COPY a.txt /
ARG A=
ARG B=""
ENV C=[$A] D=[$B] E=[${A:-x}]
