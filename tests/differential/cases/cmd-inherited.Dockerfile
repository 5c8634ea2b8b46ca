FROM diff-base
RUN echo x > /x
