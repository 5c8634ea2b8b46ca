FROM diff-base
RUN echo x > /f && mkdir /dd
RUN chmod 600 /f && chmod 711 /dd && chown alice /f
