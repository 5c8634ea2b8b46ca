FROM diff-base
RUN echo x > /u && chmod 4755 /u && echo x > /g && chmod 2755 /g && mkdir -m 3777 /d
