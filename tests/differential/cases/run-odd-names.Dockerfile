FROM diff-base
RUN touch "/sp ace" "$(printf '/new\nline')" "/quote'" '/back\slash' "$(printf '/uml\303\244ut')" "/-dash" && mkdir "/d ir" && touch "/d ir/f"
