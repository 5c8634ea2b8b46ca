FROM diff-base
ENV PATH=/extra:$PATH
RUN echo $PATH > /path
