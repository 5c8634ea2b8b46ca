FROM diff-base
RUN echo one > /f
RUN echo two > /f.new && mv /f.new /f
