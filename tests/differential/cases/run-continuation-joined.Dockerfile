FROM diff-base
RUN echo one \
 # comment
   two\
three > /out
