# as --32 hvm.s -o hvm.o && ld -m elf_i386 -Ttext=0 -e _start --oformat=binary hvm.o -o hvm.bin
# The same as the setup code of a bzImage (Documentation/arch/x86/boot.rst), for GRUB on a BIOS: says
# on the first serial port that it started, with its command line, and resets the machine.
# ds is the segment the setup sectors stand in; the code starts at 0x200 and jumps over the header.
    .code16
    .globl _start
_start:
    jmp 1f
    .org 0x70
1:  mov %cs, %ax
    sub $0x20, %ax
    mov %ax, %ds
    mov $0x200 + text, %si
    call say
    mov 0x228, %eax
    mov %eax, %esi
    and $15, %si
    shr $4, %eax
    push %ds
    mov %ax, %ds
    call say
    pop %ds
    mov $0x200 + initrd, %si
    call say
    mov 0x21c, %eax
    mov $10, %ecx
    mov $0x200 + number_end, %si
2:  xor %edx, %edx
    div %ecx
    add $'0', %dl
    dec %si
    mov %dl, (%si)
    test %eax, %eax
    jnz 2b
    call say
    mov $0xfe, %al
    out %al, $0x64
3:  hlt
    jmp 3b
say:
    mov $0x3fd, %dx
4:  in %dx, %al
    test $0x20, %al
    jz 4b
    lodsb
    test %al, %al
    jz 5f
    mov $0x3f8, %dx
    out %al, %dx
    jmp say
5:  ret
text:   .asciz "\r\nimgforge-test-kernel: started: "
initrd: .asciz " initrd="
    .fill 10, 1, 0
number_end:
    .asciz " bytes\r\n"
