FROM ${NAME:-diff-base}
RUN echo x > /x
