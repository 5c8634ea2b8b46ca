FROM diff-base
RUN --mount=type=secret,id=token true
RUN test ! -e /run/secrets/token && echo gone > /r
# with: --secret id=token,src={context}/a.txt --secret id=other,src={context}/b.txt
