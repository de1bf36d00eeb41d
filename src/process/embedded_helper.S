/* The spawn helper's executable as bytes (helper_image.cpp). */
    .section .rodata.wa_spawn_helper, "a", @progbits
    .balign 16
    .global wa_spawn_helper_begin
    .hidden wa_spawn_helper_begin
wa_spawn_helper_begin:
    .incbin WA_SPAWN_HELPER_FILE
    .global wa_spawn_helper_end
    .hidden wa_spawn_helper_end
wa_spawn_helper_end:
    .byte 0
    .section .note.GNU-stack, "", @progbits
