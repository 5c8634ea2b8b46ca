ARG NAME=diff
ARG TAIL=base
FROM ${NAME}-${TAIL}
RUN echo x > /x
