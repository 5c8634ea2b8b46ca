FROM diff-base
ENV HOME=/set
RUN echo $HOME > /h
