// SPDX-License-Identifier: Apache-2.0

#ifndef PGLEASE_CPAM_SHIM_H
#define PGLEASE_CPAM_SHIM_H

#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

/* Answers what is asked for without an echo with the password; whatever else is asked for, with failure. */
static int pglease_pam_answer(
    int count, const struct pam_message **messages, struct pam_response **answers, void *password) {
    if (count < 1 || count > PAM_MAX_NUM_MSG) return PAM_CONV_ERR;
    struct pam_response *made = calloc((size_t)count, sizeof *made);
    if (made == NULL) return PAM_BUF_ERR;
    for (int index = 0; index < count; index++) {
        int style = messages[index]->msg_style;
        if (style == PAM_ERROR_MSG || style == PAM_TEXT_INFO) continue;
        made[index].resp = style == PAM_PROMPT_ECHO_OFF ? strdup(password) : NULL;
        if (made[index].resp != NULL) continue;
        for (int before = 0; before < index; before++) free(made[before].resp);
        free(made);
        return PAM_CONV_ERR;
    }
    *answers = made;
    return PAM_SUCCESS;
}

/* One whole login: PAM_SUCCESS, or why not. `reason` gets a text of at most `size` bytes, NUL included. */
static inline int pglease_pam_check(
    const char *service, const char *user, const char *password, const char *host, char *reason,
    size_t size) {
    struct pam_conv conversation = {pglease_pam_answer, (void *)password};
    pam_handle_t *handle = NULL;
    int status = pam_start(service, user, &conversation, &handle);
    if (status == PAM_SUCCESS && host[0] != 0) status = pam_set_item(handle, PAM_RHOST, host);
    if (status == PAM_SUCCESS)
        status = pam_authenticate(handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    if (status == PAM_SUCCESS) status = pam_acct_mgmt(handle, PAM_SILENT);
    const char *text = handle == NULL ? "out of memory" : pam_strerror(handle, status);
    strncpy(reason, text == NULL ? "" : text, size - 1);
    reason[size - 1] = 0;
    if (handle != NULL) pam_end(handle, status);
    return status;
}

#endif
