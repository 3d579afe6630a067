# as --64 pv.s -o pv.o && ld -Ttext=0 -e _start --oformat=binary pv.o -o pv.bin && truncate -s 512 pv.bin
# A kernel for Xen's paravirtual guests, 64 bits: says on its console that it started, with its
# command line and the size of its initrd, and ends. rsi: start_info (xen/include/public/xen.h).
    .code64
    .globl _start
_start:
    mov %rsi, %rbp
    lea stack(%rip), %rsp
    # The console's page, at a place of our own: update_va_mapping(va, frame, UVMF_INVLPG | LOCAL)
    mov 72(%rbp), %rsi
    shl $12, %rsi
    or $0x67, %rsi
    lea page(%rip), %rdi
    mov $2, %edx
    mov $14, %eax
    syscall
    lea page(%rip), %rbx
    lea text(%rip), %rsi
    call say
    lea 128(%rbp), %rsi
    call say
    lea initrd(%rip), %rsi
    call say
    mov 120(%rbp), %rax
    mov $10, %ecx
    lea number_end(%rip), %rsi
1:  xor %edx, %edx
    div %rcx
    add $'0', %dl
    dec %rsi
    mov %dl, (%rsi)
    test %rax, %rax
    jnz 1b
    call say
    # event_channel_op(EVTCHNOP_send, port)
    mov 80(%rbp), %eax
    mov %eax, port(%rip)
    mov $4, %edi
    lea port(%rip), %rsi
    mov $32, %eax
    syscall
    # Until it was read: sched_op(SCHEDOP_yield)
2:  mov 3080(%rbx), %eax
    cmp 3084(%rbx), %eax
    je 3f
    xor %edi, %edi
    xor %esi, %esi
    mov $29, %eax
    syscall
    jmp 2b
    # sched_op(SCHEDOP_shutdown, SHUTDOWN_poweroff)
3:  mov $2, %edi
    lea reason(%rip), %rsi
    mov $29, %eax
    syscall
    jmp 3b

say:                                    # rsi: text, to its NUL; rbx: the ring
    mov 3084(%rbx), %ecx
4:  lodsb
    test %al, %al
    jz 5f
    mov %ecx, %edx
    and $2047, %edx
    mov %al, 1024(%rbx,%rdx)
    inc %ecx
    jmp 4b
5:  mov %ecx, 3084(%rbx)
    ret

text:   .asciz "\r\nimgforge-test-kernel: started: "
initrd: .asciz " initrd="
    .fill 20, 1, 0
number_end:
    .asciz " bytes\r\n"
    .balign 8
port:   .long 0
reason: .long 0
    .fill 256, 1, 0
stack:
    .balign 4096
page:   .fill 4096, 1, 0
