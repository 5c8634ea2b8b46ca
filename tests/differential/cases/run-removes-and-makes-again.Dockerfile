FROM diff-base
RUN echo x > /f
RUN rm /f && echo x > /f
