FROM diff-base
RUN mkdir /d && echo x > /d/f && ln -s /d /l
RUN echo y > /l/g && rm /l/f
