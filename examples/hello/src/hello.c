/* Serves the HTML files of the current folder, one request at a time.
 *
 *   hello --once         list what would be served, and end
 *   hello --port NUMBER  serve
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_page(const char *name) {
    size_t length = strlen(name);
    return name[0] != '.' && strchr(name, '/') == NULL && length > 5 &&
           strcmp(name + length - 5, ".html") == 0;
}

static int list(void) {
    struct dirent **names;
    int count = scandir(".", &names, NULL, alphasort);
    if (count < 0) {
        perror("hello: .");
        return 1;
    }
    printf("hello %s, user %u\n", VERSION, (unsigned)getuid());
    for (int i = 0; i < count; i++) {
        struct stat status;
        if (is_page(names[i]->d_name) && stat(names[i]->d_name, &status) == 0)
            printf("  /%-14s %5lld bytes\n", names[i]->d_name, (long long)status.st_size);
        free(names[i]);
    }
    free(names);
    return 0;
}

static void answer(int client) {
    char request[2048], name[256];
    ssize_t length = read(client, request, sizeof request - 1);
    if (length <= 0)
        return;
    request[length] = '\0';
    int page = -1;
    if (sscanf(request, "GET /%255s HTTP/1", name) == 1 && is_page(name))
        page = open(name, O_RDONLY | O_NOFOLLOW);
    if (page < 0) {
        dprintf(client, "HTTP/1.0 404 Not Found\r\n\r\nno such page\n");
        return;
    }
    dprintf(client, "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n");
    char buffer[8192];
    while ((length = read(page, buffer, sizeof buffer)) > 0)
        if (write(client, buffer, (size_t)length) != length)
            break;
    close(page);
}

static int serve(int port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 16) < 0) {
        perror("hello");
        return 1;
    }
    printf("hello %s on http://127.0.0.1:%d\n", VERSION, port);
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0) {
            answer(client);
            close(client);
        }
    }
}

static void stop(int signal) {
    _exit(128 + signal);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    /* The first process of a container has no default reaction to these. */
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    if (argc == 3 && strcmp(argv[1], "--port") == 0)
        return serve(atoi(argv[2]));
    if (argc == 2 && strcmp(argv[1], "--once") == 0)
        return list();
    fprintf(stderr, "usage: hello --once | --port NUMBER\n");
    return 2;
}
